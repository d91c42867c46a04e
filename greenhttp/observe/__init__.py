"""Is told of what happens, never decides: the access log.

    access      AccessLog: the file, batches, a thread that writes, what is lost; the formats are described there
    entries     gathers one entry for each answer while its request is still in memory (compiled)
    atoms       a format's text to the list of what an entry is made of

`entries` are http.Observers: called once for each answer, also those that no application saw. Nothing in here may make
a request wait. Imports http and what is below it; made and owned by server.
"""
