//! What the operating system and the allocator know of this process. Linux; elsewhere the figures are 0.

use std::fs;

use super::report::CpuReport;

/// The allocator's figures, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorMemory {
    /// Handed out to the program.
    pub allocated: u64,
    /// Pages that hold at least one allocation.
    pub active: u64,
    /// Pages in physical memory, with those kept for later.
    pub resident: u64,
}

/// Reads the allocator's figures; costs some microseconds, so not for each command.
pub fn allocator_memory() -> AllocatorMemory {
    use tikv_jemalloc_ctl::{epoch, stats};
    // The figures are a copy that stands still until the epoch advances.
    if epoch::advance().is_err() {
        return AllocatorMemory::default();
    }
    AllocatorMemory {
        allocated: stats::allocated::read().unwrap_or(0) as u64,
        active: stats::active::read().unwrap_or(0) as u64,
        resident: stats::resident::read().unwrap_or(0) as u64,
    }
}

/// Files that a node needs beside its clients' connections.
const OWN_FILES: u64 = 128;

/// Raises the limit of open files so that `clients` connections fit, as far as the system lets us.
pub fn allow_open_files(clients: u64) {
    use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
    let wanted = clients + OWN_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let ceiling = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: Some(wanted.min(ceiling)),
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_err() || ceiling < wanted {
        tracing::warn!("only {ceiling} files may be open: fewer than maxclients {clients} connections will fit");
    }
}

/// Lets the allocator give unused memory back to the system while the node is idle.
pub fn start_allocator_thread() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::debug!("the allocator has no thread of its own: {error}");
    }
}

/// How much a thread in the background steps back, in the system's `nice` steps of 10 to 25 %: beside busy threads it
/// gets a tenth of what they get, and all of a processor that would be idle.
const NICENESS: i32 = 10;

/// Does `work` on a thread that leaves the processors to others where they are short, and waits for it. Threads that `work` starts
/// step back too, for as long as they live.
///
/// # Errors
/// When the system gives no thread.
pub fn in_the_background<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let stepping_back = || {
        // Linux takes this for the calling thread alone.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!("no lower priority: {error}");
        }
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("ringfort-load".into())
            .spawn_scoped(scope, stepping_back)?;
        let done = thread.join();
        Ok(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Gives memory that is free back to the system.
pub fn purge_allocator() {
    // 4096 stands for all arenas (jemalloc's MALLCTL_ARENAS_ALL).
    // SAFETY: `arena.4096.purge` takes and returns nothing.
    let purged = unsafe { tikv_jemalloc_ctl::raw::read::<()>(b"arena.4096.purge\0") };
    if let Err(error) = purged {
        tracing::debug!("the allocator did not purge: {error}");
    }
}

/// The allocator's own report, as text.
pub fn allocator_report() -> String {
    let mut text = Vec::new();
    let options = tikv_jemalloc_ctl::stats_print::Options::default();
    match tikv_jemalloc_ctl::stats_print::stats_print(&mut text, options) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => format!("the allocator gave no report: {error}"),
    }
}

/// Bytes of this process in physical memory.
pub fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Bytes of physical memory of this machine.
pub fn system_memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// Processor time that this process has used.
pub fn cpu() -> CpuReport {
    let (user, system) = usage(libc::RUSAGE_SELF);
    let (user_children, system_children) = usage(libc::RUSAGE_CHILDREN);
    CpuReport {
        user,
        system,
        user_children,
        system_children,
    }
}

fn usage(who: libc::c_int) -> (f64, f64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is writable memory of the right size, and zero bytes are a valid `rusage`.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

/// The kernel's name and release and the machine, as `uname` says.
pub fn os() -> String {
    let uname = rustix::system::uname();
    [uname.sysname(), uname.release(), uname.machine()]
        .map(|part| part.to_string_lossy().into_owned())
        .join(" ")
}

/// Path of the running program; empty if the system does not tell.
pub fn executable() -> String {
    std::env::current_exe()
        .map(|path| path.display().to_string())
        .unwrap_or_default()
}

/// 40 hexadecimal digits that nobody can guess, for run ids.
pub fn random_id() -> std::io::Result<String> {
    let mut bytes = [0u8; 20];
    fill_random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Fills `bytes` with what nobody can guess.
pub fn fill_random(bytes: &mut [u8]) -> std::io::Result<()> {
    let mut source = fs::File::open("/dev/urandom")?;
    std::io::Read::read_exact(&mut source, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_background_steps_back() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let inside = in_the_background(niceness).unwrap();
        assert_eq!(inside, (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }

    #[test]
    fn the_system_knows_this_process() {
        assert!(resident_bytes() > 100_000);
        assert!(system_memory_bytes() > resident_bytes());
        assert!(os().starts_with("Linux "));
        assert!(executable().contains("ringfort"));
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = cpu();
        let mut sum = 0u64;
        while cpu().user + cpu().system < before.user + before.system + 0.01 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(sum > 0);
    }

    #[test]
    fn ids_are_40_digits_and_differ() {
        let (a, b) = (random_id().unwrap(), random_id().unwrap());
        assert_eq!(a.len(), 40);
        assert!(a.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(a, b);
    }
}
