"""Asks an address again and again until it is ended, and writes what failed: a line for each failed request (when, how long, why), and
at the end how many were asked and failed. `load.py URL FILE`."""
import http.client
import signal
import sys
import threading
import time
import urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
out = open(sys.argv[2], "w", buffering=1)
ended = threading.Event()
lock = threading.Lock()
asked = failed = 0
signal.signal(signal.SIGTERM, lambda *_: ended.set())


def ask():
    global asked, failed
    while not ended.is_set():
        began, why = time.time(), ""
        try:
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=5)
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            connection.close()
            if answer.status != 200:
                why = str(answer.status)
        except Exception as error:
            why = repr(error)
        with lock:
            asked += 1
            if why:
                failed += 1
                out.write(f"{began:.3f} {time.time() - began:.3f} {why}\n")
        time.sleep(0.02)


threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
limit = time.time() + 1800
while not ended.is_set() and time.time() < limit:
    ended.wait(1)
ended.set()
for thread in threads:
    thread.join(6)
out.write(f"# {asked} asked, {failed} failed\n")
