"""cheroot, CherryPy's server. Its default of 10 kept connections would decide every row, and its 10 s without a request
that of idle connections."""

from cheroot.wsgi import Server

from perf.start import PORT, THREADS, application

server = Server(("127.0.0.1", PORT), application(), numthreads=THREADS, request_queue_size=4096, timeout=75)
server.keep_alive_conn_limit = 20000
server.start()
