"""The commands under Compliance: dated rules, forecasts, reports and the calendar."""
