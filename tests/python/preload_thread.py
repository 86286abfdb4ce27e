"""A module that no fork server should preload."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
