"""The dispatcher: runs accepted asynchronous requests, and delivers their webhooks.

`application` is its Serve deployment; `dispatcher` keeps one `Lane` for each
environment. A lane matches what is ready in the store with permits of the
environment's queue (`demand`), holds the leases of what it has claimed (`leases`),
has it run (`runs`, `run`) and reported (`settling`). `deliveries` sends webhooks.

What is told of all that: `trails` of runs, `tales` of webhooks, `sight` of what runs
now; `telling` is what they tell with.
"""
