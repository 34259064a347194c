"""The `offhook` command, one file a verb."""
