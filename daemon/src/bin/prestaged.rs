//! tmp
fn main() -> anyhow::Result<()> {
    prestaged::worker::main()
}
