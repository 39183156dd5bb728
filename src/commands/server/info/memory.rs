//! INFO memory.

use super::super::memory::{difference, percentage, ratio};
use super::{Lines, Source};

pub fn memory(source: &Source, lines: &mut Lines) {
    let memory = &source.report.memory;
    let beyond_startup = memory.used.saturating_sub(memory.startup);
    both(lines, "used_memory", memory.used);
    both(lines, "used_memory_rss", memory.rss);
    both(lines, "used_memory_peak", memory.peak);
    let percent = |part, whole| format!("{:.2}%", percentage(part, whole));
    lines.put("used_memory_peak_perc", percent(memory.used, memory.peak));
    lines.put("used_memory_overhead", memory.overhead());
    lines.put("used_memory_startup", memory.startup);
    lines.put("used_memory_dataset", memory.dataset);
    lines.put(
        "used_memory_dataset_perc",
        percent(memory.dataset, beyond_startup),
    );
    lines.put("allocator_allocated", memory.allocated);
    lines.put("allocator_active", memory.active);
    lines.put("allocator_resident", memory.resident);
    both(lines, "total_system_memory", memory.system_total);
    scripts(lines);
    both(lines, "maxmemory", source.live.maxmemory_bytes);
    lines.put("maxmemory_policy", source.live.maxmemory_policy.name());
    fragmentation(source, lines);
    lines.zeros(&[
        "mem_not_counted_for_evict",
        "mem_replication_backlog",
        "mem_total_replication_buffers",
        "mem_clients_slaves",
    ]);
    lines.put("mem_clients_normal", source.report.clients.buffers_bytes);
    lines.zeros(&["mem_cluster_links", "mem_aof_buffer"]);
    lines.put("mem_allocator", "jemalloc");
    lines.zeros(&[
        "active_defrag_running",
        "lazyfree_pending_objects",
        "lazyfreed_objects",
    ]);
}

/// There are no scripts and functions.
fn scripts(lines: &mut Lines) {
    lines.zeros(&["used_memory_lua", "used_memory_vm_eval"]);
    lines.put("used_memory_lua_human", "0B");
    lines.zeros(&[
        "used_memory_scripts_eval",
        "number_of_cached_scripts",
        "number_of_functions",
        "number_of_libraries",
        "used_memory_vm_functions",
        "used_memory_vm_total",
    ]);
    lines.put("used_memory_vm_total_human", "0B");
    lines.zeros(&["used_memory_functions", "used_memory_scripts"]);
    lines.put("used_memory_scripts_human", "0B");
}

fn fragmentation(source: &Source, lines: &mut Lines) {
    let memory = &source.report.memory;
    let mut pair = |name: &str, a, b| {
        lines.put(&format!("{name}_ratio"), format!("{:.2}", ratio(a, b)));
        lines.put(&format!("{name}_bytes"), difference(a, b));
    };
    pair("allocator_frag", memory.active, memory.allocated);
    pair("allocator_rss", memory.resident, memory.active);
    pair("rss_overhead", memory.rss, memory.resident);
    let ratio = memory.fragmentation_ratio();
    lines.put("mem_fragmentation_ratio", format!("{ratio:.2}"));
    lines.put("mem_fragmentation_bytes", memory.fragmentation_bytes());
}

/// A number of bytes, and the same for people.
fn both(lines: &mut Lines, name: &str, bytes: u64) {
    lines.put(name, bytes);
    lines.put(&format!("{name}_human"), human(bytes));
}

/// `1.50M`, as Redis writes it.
fn human(bytes: u64) -> String {
    let units = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_are_shown_to_people_as_redis_does() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (2_078_024, "1.98M"),
            (25_276_514_304, "23.54G"),
            (1 << 40, "1.00T"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
