"""Chat models: chosen by name, called under deadlines and budgets, or replaced by honest rules."""
