"""From the inventory to notices: collect topics, recheck them before sending, announcements."""
