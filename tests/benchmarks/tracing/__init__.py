"""What tracing costs: the same cluster with none and with three shares of the requests exported."""
