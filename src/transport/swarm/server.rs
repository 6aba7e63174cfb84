//! What the servers under load take of their computer, from `/proc`.

use std::fs;

use crate::engine::swarm::Micros;

/// What a process has used.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Usage {
    pub user: Micros,
    pub system: Micros,
    /// The most memory it ever had resident (VmHWM), in octets.
    pub peak: u64,
}

/// Reads a process; None if it is gone.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parse(&stat, &status)
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name in parentheses may hold anything; fields count from behind it (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map_while(|field| field.parse::<u64>().ok());
    // USER_HZ is 100 on every architecture that Linux runs nodes on.
    let ticks = |ticks: u64| Micros(ticks.saturating_mul(10_000));
    let (user, system) = (ticks(times.next()?), ticks(times.next()?));
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak = peak.trim().trim_end_matches(" kB").parse::<u64>().ok()?.saturating_mul(1024);
    Some(Usage { user, system, peak })
}

/// Sets the peak of a process back to what it has now, so that the run's own peak is seen. It needs the rights of
/// the process's owner; without them the peak is that of its whole life.
pub fn reset_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

#[cfg(test)]
mod tests {
    use crate::engine::swarm::Micros;
    use crate::transport::swarm::server::{Usage, parse};

    #[test]
    fn a_process_with_a_strange_name_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 125 0 0 20 0 1 0 1 1 1";
        let read = parse(stat, "Name:\ta\nVmHWM:\t    2048 kB\n");
        let usage = Usage { user: Micros(2_500_000), system: Micros(1_250_000), peak: 2 << 20 };
        assert_eq!(read, Some(usage));
        assert_eq!(parse("7 (a", ""), None);
    }
}
