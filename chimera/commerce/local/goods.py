"""What the sample shop sells: a report that was written for it. Its names and numbers are invented."""

GOODS: dict[str, object] = {
    "/reports/teams": {
        "report": [
            {
                "project": "northwind/agent-kit",
                "maintainers": 14,
                "open_positions": 3,
                "note": "two full-time since May",
            },
            {
                "project": "lumen-labs/vector-bench",
                "maintainers": 5,
                "open_positions": 0,
                "note": "kept up by one company",
            },
            {"project": "harbor/queue-lite", "maintainers": 2, "open_positions": 1, "note": "looks for a successor"},
        ]
    }
}
