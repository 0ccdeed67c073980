"""The commands under Inventory: records of clients and servers, import and export."""
