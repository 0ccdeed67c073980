"""Operation of certmgr: the cron job, the doctor, the monitoring plug-in, and metrics."""
