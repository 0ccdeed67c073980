"""What all HTML pages of certmgr share: the style sheet, the templates' environment, the policy."""
