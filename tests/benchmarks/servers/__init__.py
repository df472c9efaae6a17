"""The echo model as each peer serves it; these modules run in the peers' own processes."""
