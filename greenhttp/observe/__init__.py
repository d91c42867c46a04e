"""Is told of what happens, never decides: the access log, and what the log says of strangers and of a stop.

    access      AccessLog: the file, batches, a thread that writes, what is lost; the formats are described there
    entries     gathers one entry for each answer while its request is still in memory (compiled)
    atoms       a format's text to the list of what an entry is made of
    noise       Noise: of what outsiders can make the log say at will, some lines a second
    cuts        what is said of requests that a stop cuts

`entries` are http.Observers: called once for each answer, also those that no application saw. Nothing in here may make
a request wait. Imports http and what is below it; made and owned by server.
"""
