"""Commit to a Delta log through the log store that Delta uses for local paths, with and without the table's
lease.

Run as a program: HOME WRITER COMMITS. A bare JVM with Delta's own jars starts in a second, where Spark takes
ten.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.spark import delta_jars

WRITERS = 2
# Like a Delta transaction: use the version after the newest, or the next one if another writer was faster.
# The disk is slowed down by 5 ms between the log store's check whether a name is free and its rename;
# otherwise the race would take days to hit.
JAVA = """
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

public class Writer {
    public static void commit(
            io.delta.storage.LogStore store, String log, String line, Configuration conf) throws Exception {
        while (true) {
            String name = String.format("%020d.json", new Object[] { Long.valueOf(count(log)) });
            try {
                java.util.Iterator lines = java.util.Collections.singletonList(line).iterator();
                store.write(new Path(log, name), lines, Boolean.FALSE, conf);
                return;
            } catch (java.nio.file.FileAlreadyExistsException taken) {
            }
        }
    }

    static long count(String log) {
        String[] names = new java.io.File(log).list();
        long commits = 0;
        for (int i = 0; i < names.length; i++) {
            if (names[i].endsWith(".json") && !names[i].startsWith(".")) commits++;
        }
        return commits;
    }

    static class Disk extends org.apache.hadoop.fs.RawLocalFileSystem {
        public void setPermission(Path path, org.apache.hadoop.fs.permission.FsPermission permission) { }
    }

    public static class SlowDisk extends org.apache.hadoop.fs.DelegateToFileSystem {
        public SlowDisk(java.net.URI uri, Configuration conf) throws Exception {
            super(uri, new Disk(), conf, "file", false);
        }
        public void renameInternal(Path from, Path to) throws java.io.IOException {
            try { Thread.sleep(5); } catch (InterruptedException error) { }
            super.renameInternal(from, to);
        }
    }
}
"""


def committer() -> Callable[[Path, str], None]:
    """A function that adds a commit with one line to a log."""
    jars = [*Path(pyspark.__file__).parent.glob("jars/*.jar"), *delta_jars()[0].parent.glob("*.jar")]
    port, token = launch_gateway(classpath=":".join(map(str, jars)), die_on_exit=True, enable_auth=True)
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    jvm = gateway.jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.cook(JAVA)
    loader = compiler.getClassLoader()
    (commit,) = (method for method in loader.loadClass("Writer").getMethods() if method.getName() == "commit")
    configuration = jvm.org.apache.hadoop.conf.Configuration()
    configuration.setClassLoader(loader)
    configuration.set("fs.AbstractFileSystem.file.impl", "Writer$SlowDisk")
    arguments = gateway.new_array(jvm.java.lang.Object, 4)
    arguments[0], arguments[3] = jvm.io.delta.storage.HDFSLogStore(configuration), configuration

    def add(log: Path, line: str) -> None:
        arguments[1], arguments[2] = str(log), line
        commit.invoke(None, arguments)

    return add


def main(home: Path, writer: str, commits: int) -> None:
    """Commit concurrently with the other writer, first without the lease, then with it."""
    add = committer()
    for how in ("free", "leased"):
        log = home / how
        log.mkdir(exist_ok=True)
        (home / f"{writer}.{how}").touch()
        while len(list(home.glob(f"*.{how}"))) < WRITERS:
            time.sleep(0.001)
        for number in range(commits):
            with lease(home, str(log)) if how == "leased" else nullcontext():
                add(log, f"{writer} {number}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
