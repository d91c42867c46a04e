"""The guide: every block of its pages is run, what it says of options and messages is compared with the code.

    blocks      the blocks of a page, and what its comments say of them
    session     runs the blocks of one page in a directory of its own
"""
