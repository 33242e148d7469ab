//! The limits themselves; that the kernel keeps them is tested with the built binary, in `tests/limits.rs`.

use super::*;

fn limits(memory: &str, swap: &str) -> Result<Limits, LimitsError> {
    Limits::new(memory.parse().ok(), swap.parse().ok(), None, None)
}

#[test]
fn swap_is_counted_with_memory() {
    assert_eq!(limits("", "64m"), Err(LimitsError::SwapAlone));
    assert_eq!(limits("64m", "32m"), Err(LimitsError::SwapBelowMemory));
    let total = |memory, swap| {
        let limits = limits(memory, swap).unwrap();
        limit::all(&limits).iter().map(Limit::amount).collect::<Vec<_>>()
    };
    assert_eq!(total("64m", ""), [Some(64 << 20), Some(128 << 20)]);
    assert_eq!(total("64m", "64m"), [Some(64 << 20), Some(64 << 20)]);
    assert_eq!(total("64m", "-1"), [Some(64 << 20), None]);
}

#[test]
fn no_limit_makes_nothing() {
    assert!(Limits::default().is_empty());
    assert!(Limits::new(None, None, Some(Pids(None)), None).unwrap().is_empty());
    assert!(!limits("64m", "").unwrap().is_empty());
    assert!(limit::all(&Limits::default()).is_empty());
}

#[test]
fn the_kernel_rounds_memory_to_pages_and_nothing_else() {
    let all = limit::all(&Limits::new("7000000".parse().ok(), None, "20".parse().ok(), "1.5".parse().ok()).unwrap());
    let [memory, swap, pids, cpu] = all[..] else { panic!("{all:?}") };
    assert!(
        memory.is(Some(6_999_040)) && !memory.is(Some(7_000_001)) && !memory.is(Some(6_000_000)) && !memory.is(None)
    );
    assert!(swap.is(Some(13_996_032)) && !swap.is(None));
    assert!(pids.is(Some(20)) && !pids.is(Some(19)));
    assert!(cpu.is(Some(150_000)) && !cpu.is(None));
    assert_eq!(cpu.describe(cpu.amount()), "150000 of each 100000 µs");
}
