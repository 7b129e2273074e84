"""The demo: the embedded LVM prompted once for every task, or an LVM trained here and prompted; one page to look at."""
