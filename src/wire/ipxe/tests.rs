use crate::wire::ipxe::{Script, Unwritable, check};

#[test]
fn foreign_text_cannot_become_a_command() {
    let script = Script::default().echo("a\nreboot ; ${net0/mac} || b\\").comment("x\npoweroff");
    assert_eq!(script.finish(), "#!ipxe\necho a reboot - $ {net0/mac} - b\n# x poweroff\n");
    assert!(matches!(check("a\nreboot"), Err(Unwritable::Control(_))));
    assert!(matches!(check("quiet || reboot"), Err(Unwritable::Operator(_))));
    assert!(matches!(check("quiet\\"), Err(Unwritable::Backslash(_))));
    assert!(matches!(check(&"x".repeat(5000)), Err(Unwritable::Long(5000))));
}

#[test]
fn cloud_init_s_semicolon_and_quotes_survive() {
    let line = "vmlinuz ds=nocloud;s=http://192.0.2.254/ quoted=\"a b\"";
    let script = Script::default().with("kernel", line, " || goto retry").unwrap();
    assert_eq!(script.finish(), format!("#!ipxe\nkernel {line} || goto retry\n"));
}
