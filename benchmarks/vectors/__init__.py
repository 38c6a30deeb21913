"""What embedding and indexing cost: against other indexes, other runtimes, and doing all of it anew."""
