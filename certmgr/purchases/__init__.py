"""Certificate purchases of one to three years: coverage, reissues, renewals, forecast and cost."""
