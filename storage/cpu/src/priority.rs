//! Which threads go first where there are more than cores.

use std::io;

/// Behind whoever executes and commits blocks, with a third of such a thread's share: what each of these threads does goes on in
/// any case.
pub const BEHIND_BLOCKS: i32 = 5;
/// Behind all others, with what they leave.
pub const BEHIND_ALL: i32 = 19;

/// Has the calling thread stand back from now on, until it ends. Elsewhere than on Linux a priority is that of the whole process:
/// nothing happens.
///
/// # Errors
/// The system refuses; the thread goes on as before.
pub fn give_way(niceness: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::nice(niceness)?;
    #[cfg(not(target_os = "linux"))]
    let _: i32 = niceness;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::nice;

    #[test]
    fn only_the_thread_that_gives_way_stands_back() {
        let before = nice(0).unwrap();
        let stood_back = std::thread::spawn(|| {
            give_way(BEHIND_BLOCKS).unwrap();
            nice(0).unwrap()
        });
        assert_eq!(stood_back.join().unwrap(), (before + BEHIND_BLOCKS).min(BEHIND_ALL));
        assert_eq!(nice(0).unwrap(), before);
    }
}
