//! The system calls that a scratch container may make (`seccomp(2)`; in the form of the OCI runtime specification,
//! section "Seccomp", which the engine takes).
//!
//! This is an allow-list: everything else fails with `EPERM`. Compared with the engine's own list, these are left out:
//! sockets that reach past the container's network (`AF_VSOCK` leads to the hypervisor, `AF_PACKET` to the wire,
//! `AF_ALG` and most of `AF_NETLINK` into the kernel), `io_uring`, which makes system calls that no filter sees,
//! namespaces, mounts, keys, `bpf`, `ptrace` and the like.

use serde_json::{Value, json};

/// Files, folders and writing to them.
const FILES: &[&str] = &[
    "access",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "lchown",
    "lchown32",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "_llseek",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "lstat64",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "sendfile64",
    "setxattr",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "sync_file_range2",
    "syncfs",
    "tee",
    "truncate",
    "truncate64",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
    "vmsplice",
    "write",
    "writev",
    "arm_fadvise64_64",
    "arm_sync_file_range",
];

/// Memory.
const MEMORY: &[&str] = &[
    "brk",
    "cachestat",
    "madvise",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "process_mrelease",
    "remap_file_pages",
    "cacheflush",
    "riscv_flush_icache",
];

/// Processes, threads, their owners, and waiting for them.
const PROCESSES: &[&str] = &[
    "alarm",
    "arch_prctl",
    "capget",
    "capset",
    "chroot",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getrlimit",
    "getrusage",
    "getsid",
    "gettid",
    "getuid",
    "getuid32",
    "ioprio_get",
    "ioprio_set",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "map_shadow_stack",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "set_tls",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setpgid",
    "setpriority",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setrlimit",
    "setsid",
    "setuid",
    "setuid32",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "sigprocmask",
    "sigreturn",
    "sysinfo",
    "tgkill",
    "tkill",
    "ugetrlimit",
    "uname",
    "vfork",
    "wait4",
    "waitid",
    "waitpid",
    "getrandom",
];

/// Time, and waiting for it or for files.
const TIME: &[&str] = &[
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "getitimer",
    "gettimeofday",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    "nanosleep",
    "_newselect",
    "poll",
    "ppoll",
    "ppoll_time64",
    "pselect6",
    "pselect6_time64",
    "select",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_gettime64",
    "timer_settime",
    "timer_settime64",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_gettime64",
    "timerfd_settime",
    "timerfd_settime64",
    "times",
];

/// Messages between processes, and over existing sockets.
const MESSAGES: &[&str] = &[
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "ipc",
    "listen",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "mq_timedsend",
    "mq_timedsend_time64",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "socketpair",
];

/// Families of sockets that stay inside: `AF_UNIX`, `AF_INET`, `AF_INET6`.
const INSIDE: [u64; 3] = [1, 2, 10];

/// `AF_NETLINK`, of which only protocol 0 is permitted: routes and addresses of the container's own network.
const NETLINK: u64 = 16;

/// The families that `include/linux/socket.h` numbers. Those that are not permitted are reported as families that this
/// kernel does not have, which programs are prepared for.
const FAMILIES: std::ops::RangeInclusive<u64> = 3..=45;

/// `EAFNOSUPPORT` and `ENOSYS` (`include/uapi/asm-generic`).
const NO_SUCH_FAMILY: u64 = 97;
const NO_SUCH_CALL: u64 = 38;

/// The `CLONE_NEW…` flags, none of which a clone may have.
const NAMESPACES: u64 = 0x7E02_0000;

/// The permitted values of `personality`: Linux and its 32-bit variant, each with or without the release number of old
/// kernels; or a query.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

fn allow(name: &str, args: &Value) -> Value {
    json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": args})
}

fn fail(name: &str, errno: u64, args: &Value) -> Value {
    json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args})
}

fn is(index: u8, value: u64) -> Value {
    json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"})
}

/// The profile, in the form that the engine takes after `seccomp=`.
pub(super) fn profile() -> String {
    let named: Vec<&str> =
        [FILES, MEMORY, PROCESSES, TIME, MESSAGES].into_iter().flatten().copied().collect();
    let mut rules = vec![json!({"names": named, "action": "SCMP_ACT_ALLOW", "args": []})];
    rules.extend(INSIDE.map(|family| allow("socket", &json!([is(0, family)]))));
    rules.push(allow("socket", &json!([is(0, NETLINK), is(2, 0)])));
    let outside = FAMILIES.filter(|family| !INSIDE.contains(family) && *family != NETLINK);
    rules.extend(outside.map(|family| fail("socket", NO_SUCH_FAMILY, &json!([is(0, family)]))));
    // s390 has the flags of a clone in its second argument; without a probe program for s390, no drill runs on it.
    let no_namespace = json!([{"index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]);
    rules.push(allow("clone", &no_namespace));
    // Its flags are in memory, where no filter sees them. Programs fall back to `clone`.
    rules.push(fail("clone3", NO_SUCH_CALL, &json!([])));
    rules.extend(PERSONALITIES.map(|value| allow("personality", &json!([is(0, value)]))));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        // 32-bit programs do not run: those of x86 create sockets with `socketcall`, whose arguments no filter sees.
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": rules,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rules() -> Vec<Value> {
        let profile: Value = serde_json::from_str(&profile()).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        profile["syscalls"].as_array().unwrap().clone()
    }

    #[test]
    fn what_reaches_past_a_container_is_not_named() {
        let rules = rules();
        let allowed = rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW");
        let names: Vec<String> = allowed
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        for bad in [
            "io_uring_setup",
            "io_uring_enter",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "bpf",
            "mount",
            "umount2",
            "unshare",
            "setns",
            "clone3",
            "keyctl",
            "add_key",
            "request_key",
            "userfaultfd",
            "perf_event_open",
            "open_by_handle_at",
            "socketcall",
            "kexec_load",
            "init_module",
            "finit_module",
            "reboot",
            "swapon",
            "pivot_root",
            "fsopen",
            "move_mount",
            "syslog",
            "acct",
            "quotactl",
            "settimeofday",
            "clock_settime",
            "iopl",
            "ioperm",
            "modify_ldt",
            "pidfd_getfd",
            "fanotify_init",
            "vhangup",
            "kcmp",
            "lookup_dcookie",
        ] {
            assert!(!names.iter().any(|name| name == bad), "{bad}");
        }
        let plain: BTreeSet<&String> =
            names.iter().filter(|name| !["socket", "personality"].contains(&name.as_str())).collect();
        assert_eq!(
            plain.len(),
            names.iter().filter(|name| !["socket", "personality"].contains(&name.as_str())).count(),
            "a call is named once"
        );
    }

    #[test]
    fn every_family_of_sockets_is_let_through_or_refused() {
        let rules = rules();
        let of = |family: u64| -> Vec<&str> {
            rules
                .iter()
                .filter(|rule| rule["names"][0] == "socket" && rule["args"][0]["value"] == family)
                .map(|rule| rule["action"].as_str().unwrap())
                .collect()
        };
        for inside in [1, 2, 10, 16] {
            assert_eq!(of(inside), ["SCMP_ACT_ALLOW"], "{inside}");
        }
        // Packets, ALG, vsock, Bluetooth, XDP.
        for outside in [17, 38, 40, 31, 44] {
            assert_eq!(of(outside), ["SCMP_ACT_ERRNO"], "{outside}");
        }
    }
}
