//! libFuzzer on the target that ROOMTONE_FUZZ_TARGET names. With ROOMTONE_FUZZ_SEEDS it writes the first inputs of all targets instead,
//! each into a folder of its own in that one.

#![no_main]
// `fuzz_target!` exports the functions that libFuzzer calls.
#![allow(unsafe_code)]

use std::path::Path;
use std::sync::LazyLock;
use std::{env, fs, io, panic, process};

use libfuzzer_sys::fuzz_target;
use roomtone_fuzz_targets::{TARGETS, Target, target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("ROOMTONE_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("ROOMTONE_FUZZ_TARGET names no target: {name:?}"))
});

/// libFuzzer ends with each panic, also one that is caught. A recorded room may have failed because it was asked to, for a test: that
/// is replayed as it was, and is no bug.
fn allow_faults() {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("a fault was asked for") {
            end(info);
        }
    }));
}

fn write_seeds(folder: &Path) -> io::Result<()> {
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

fuzz_target!(
    init: {
        if let Some(folder) = env::var_os("ROOMTONE_FUZZ_SEEDS") {
            write_seeds(Path::new(&folder)).expect("the seeds can be written");
            process::exit(0);
        }
        allow_faults();
    },
    |data: &[u8]| (TARGET.run)(data)
);
