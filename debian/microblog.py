#!/usr/bin/python3
from microblog.cli import main

main()
