"""The gateway's settings from the appliance's environment, and what gunicorn is told. No Django in this process.

Started as `gunicorn -c python:appliance.gateway appliance.gateway:settings`.
"""
