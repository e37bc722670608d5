"""What the sample shop sells: a report that was written for it. Its names and numbers are invented."""

GOODS: dict[str, object] = {
    "/reports/teams": {
        "report": [
            {"project": "Quillfern", "maintainers": 6, "open positions": 2, "note": "two full-time since May"},
            {"project": "Nimbrook", "maintainers": 2, "open positions": 1, "note": "looks for a second reviewer"},
            {"project": "Gritwake", "maintainers": 11, "open positions": 0, "note": "kept up by one company"},
        ]
    }
}
