"""Import and export: the plan of an import (``plan``), and a module per format."""
