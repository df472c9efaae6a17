"""What all processes of the system tell, brought together in one place.

Every process is a *source*: it pushes what it counted and measured, and answers
questions (`reporter`). One Serve application adds it up (`hub`) and shows it to
routers, which give it to operators (`handle`). All of it is soft state: the data
plane does not notice when it is gone.
"""
