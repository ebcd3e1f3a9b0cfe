"""From an exception to an HTTP answer in the words of the dialect that asked."""
