"""The Docker engine of the tests: the one that runs, or one of their own."""

import os
import shutil
import subprocess
import tarfile
import tempfile

from harness import Failed, check, until


class Engine:
    """The Docker engine: the one that runs, or one of our own."""

    def __init__(self):
        self.process = None
        self.folder = tempfile.mkdtemp(prefix="firelane-docker-")
        self.env = dict(os.environ)
        if shutil.which("docker") and self.docker("info", check_code=False).returncode == 0:
            return
        check(shutil.which("docker") and shutil.which("dockerd"), "docker is not installed (Debian: docker.io)")
        check(os.geteuid() == 0, "no Docker engine runs and only root can start one")
        socket = os.path.join(self.folder, "docker.sock")
        command = ["dockerd", "--host", "unix://" + socket, "--data-root", self.folder + "/data",
                   "--exec-root", self.folder + "/exec", "--pidfile", self.folder + "/docker.pid",
                   "--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"]
        self.log = open(os.path.join(self.folder, "dockerd.log"), "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.env["DOCKER_HOST"] = "unix://" + socket

        def up():
            if self.process.poll() is not None:
                with open(self.log.name, errors="replace") as f:
                    raise Failed("dockerd ended with %s:\n%s" % (self.process.poll(), f.read()[-3000:]))
            return self.docker("info", check_code=False).returncode == 0
        until("dockerd answers", 60, up)

    def docker(self, *args, check_code=True):
        done = subprocess.run(["docker", *args], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
        if check_code:
            check(done.returncode == 0, "docker %s: %s" % (" ".join(args[:3]), done.stdout.strip()[-1000:]))
        return done

    def image(self, name):
        """A `FROM scratch` image of one file: busybox."""
        busybox = shutil.which("busybox")
        check(busybox, "busybox is not installed (Debian: busybox-static)")
        path = os.path.join(self.folder, "image.tar")
        with tarfile.open(path, "w") as tar:
            tar.add(os.path.realpath(busybox), "bin/busybox")
            for applet in ("sh", "awk", "sleep"):
                link = tarfile.TarInfo("bin/" + applet)
                link.type, link.linkname, link.mode = tarfile.SYMTYPE, "busybox", 0o777
                tar.addfile(link)
        self.docker("import", path, name)

    def close(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            # The engine leaves it mounted, and then the folder cannot be removed.
            subprocess.run(["umount", self.folder + "/exec/netns/default"], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)
