"""For those who run certmgr: a monitoring plug-in and metrics."""
