"""A real RTSP camera for tests: gst-rtsp-server on loopback, run by the system's Python, which has its bindings.

usage: rtsp_server.py PORT [USER:PASSWORD]; prints READY when it listens.
  /cam    H.264 pictures
  /mjpeg  JPEG pictures
  /av     H.264 pictures and Opus sound, a tone of 440 Hz
  /short  /av, for two seconds
  /voice  /av, whose pictures end after one second
"""

from __future__ import annotations

import sys
from typing import Any

import gi  # type: ignore[import-not-found, import-untyped, unused-ignore]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found, import-untyped, unused-ignore] # noqa: E402

CAMERA = "videotestsrc is-live=true pattern=ball {}! video/x-raw,format=I420,width=320,height=240,framerate=30/1 "
H264 = "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 config-interval=1 "
JPEG = "! jpegenc ! rtpjpegpay name=pay0 pt=26 "
TONE = "audiotestsrc is-live=true wave=sine freq=440 volume=0.5 {}! audio/x-raw,rate=48000,channels=1 "
OPUS = "! opusenc ! rtpopuspay name=pay1 pt=97"
MOUNTS = {
    "/cam": CAMERA.format("") + H264,
    "/mjpeg": CAMERA.format("") + JPEG,
    "/av": CAMERA.format("") + H264 + TONE.format("") + OPUS,
    "/short": CAMERA.format("num-buffers=60 ") + H264 + TONE.format("num-buffers=94 ") + OPUS,  # of 1,024 samples
    "/voice": CAMERA.format("num-buffers=30 ") + H264 + TONE.format("") + OPUS,
}


def serve(port: str, login: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    for path, pipeline in MOUNTS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {pipeline} )")
        factory.set_shared(path != "/short")
        if login:
            allow(factory, login.partition(":")[0])
        server.get_mount_points().add_factory(path, factory)
    if login:
        server.set_auth(lock(*login.split(":")))
    server.attach(None)
    print("READY", flush=True)
    GLib.MainLoop().run()


def allow(factory: Any, user: str) -> None:
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_role(user)
    permissions.add_permission_for_role(user, "media.factory.access", True)
    permissions.add_permission_for_role(user, "media.factory.construct", True)
    factory.set_permissions(permissions)


def lock(user: str, password: str) -> Any:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", user)
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    return auth


serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
