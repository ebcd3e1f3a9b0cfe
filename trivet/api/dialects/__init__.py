"""The shapes of other servers, one small file each, over the same dispatcher."""
