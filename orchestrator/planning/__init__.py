"""What deploying a file would do to a cluster, said before it is done.

`deployed` is what a cluster runs, `reading` finds it out, `changes` compares two of
them by the rules that Serve's controller goes by (`serve_rules`), `file_fields` names
the fields of the file behind a difference, and `notices` says what callers notice.
"""
