-- 14 fields as a browser sends them (Host is wrk's), one of them a cookie of 100 bytes.
dofile("perf/wrk/report.lua")
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
wrk.headers["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br, zstd"
wrk.headers["Referer"] = "http://127.0.0.1/index.html"
wrk.headers["Connection"] = "keep-alive"
wrk.headers["Cookie"] = "session=" .. string.rep("0123456789abcdef", 4) .. "; theme=dark; seen=" .. string.rep("7", 9)
wrk.headers["Upgrade-Insecure-Requests"] = "1"
wrk.headers["Sec-Fetch-Dest"] = "document"
wrk.headers["Sec-Fetch-Mode"] = "navigate"
wrk.headers["Sec-Fetch-Site"] = "same-origin"
wrk.headers["Priority"] = "u=0, i"
wrk.headers["Cache-Control"] = "max-age=0"
