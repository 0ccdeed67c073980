"""The commands of ``--help`` under Inspect: what is served, and what needs attention."""
