"""What may leave: no secrets, no personal data of strangers, no hidden channels, no prompts of ours, and honest labels.

Each check is a plain function from a text to findings (``find_*``), and a guard on top of it (``textguard.TextGuard``).
All of them look for what can be recognised by its form. They are a net of known size, not an understanding of texts.
"""
