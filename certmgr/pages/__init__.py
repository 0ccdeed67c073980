"""What all HTML pages of certmgr share: the style sheet, the templates' environment, the policy."""

# The package imports nothing, because the templates need a library that few commands use.
