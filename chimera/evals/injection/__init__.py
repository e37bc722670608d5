"""Training and honest measurement of the injection filter. Needs the extra ``evals``; the product runs none of it."""
