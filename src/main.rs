//! The `ringfort` program: reads the command line, then runs a node until it is told to stop.

mod start;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

use ringfort::cli::{self, CliError, Invocation};
use start::StopSignals;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Data in huge pages: look-ups are random, and nothing here ever forks, which is what makes huge pages dear to others.
/// Without effect where the system has them switched off. One arena a processor: each begins with a huge page of its own, and the
/// threads beside the workers allocate little.
#[export_name = "_rjem_malloc_conf"]
pub static ALLOCATOR_SETTINGS: &[u8; 27] = b"thp:always,narenas_ratio:1\0";

/// Wait for the HTTP port and others to end by themselves.
const EXIT_FAILURE: u8 = 1;
/// The cluster does not take this node, and will not take it the next time: a process manager need not start it again.
const EXIT_STAYS_OUT: u8 = 3;

fn main() -> ExitCode {
    let settings = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(Invocation::Serve(settings)) => settings,
        Ok(Invocation::Demo(demo)) => return run_demo(&demo),
        Ok(Invocation::Operate(operation)) => {
            return ExitCode::from(cli::operator::run(&operation))
        }
        Ok(Invocation::Print(text)) => {
            // Whoever reads may have seen enough (`ringfort --help | head`).
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(CliError::EXIT_CODE as u8);
        }
    };
    match start::serve(&Arc::new(*settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            eprintln!("ringfort: {error}");
            ExitCode::from(match start::stays_out(&error) {
                true => EXIT_STAYS_OUT,
                false => EXIT_FAILURE,
            })
        }
    }
}

/// A cluster on this machine, until Ctrl-C.
fn run_demo(demo: &cli::demo::Demo) -> ExitCode {
    let stopped = Arc::new(AtomicBool::new(false));
    let tell = stopped.clone();
    let watch = std::thread::spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            StopSignals::catch()?.caught().await;
            tell.store(true, Relaxed);
            Ok(())
        })
    });
    let program = std::env::current_exe();
    let done = program
        .map_err(AnyError::from)
        .and_then(|program| cli::demo::run(demo, &program, &|| stopped.load(Relaxed)));
    drop(watch);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfort: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

type AnyError = Box<dyn std::error::Error>;
