"""A server as a program.

    boot        the process as an application should find it: directory, environment, patch, application
    check       what can be found wrong before: addresses, users, formats, files
    loading     the application by its name
    running     serve(): signals, what the terminal is told, the end
    endings     signals while the process goes down
    logs        where the log goes
    hooks       gunicorn's server hooks, in a Python file of settings
"""
