"""`gates policy backtest` and `gates policy shadow`."""
