//! The GPU that tests run on: the machine's own, or Chromium's SwiftShader, which runs on any processor.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Once;
use wisplm::gpu::{Features, Gpu};

/// What tells Vulkan's loader which drivers there are.
const DRIVERS: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
/// Where a window system would be found.
const RUNTIME: &str = "XDG_RUNTIME_DIR";
/// Where Chromium and Chrome are installed.
const FOLDERS: [&str; 4] =
    ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome", "/usr/lib64/chromium-browser"];

/// Where drivers of the system say what they are.
const SYSTEM: [&str; 3] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/// Opens a GPU. `WISPLM_GPU=system` takes the system's own driver in place of SwiftShader.
pub fn open() -> Rc<Gpu> {
    open_on(swiftshader)
}

/// Opens Mesa's lavapipe, which has what SwiftShader lacks: 16-bit floats and larger subgroups.
pub fn open_lavapipe() -> Rc<Gpu> {
    open_on(lavapipe)
}

pub const NONE: Features = Features { f16: false, subgroup: 0, packed_dot: false };
pub const ALL: Features = Features { f16: true, subgroup: 8, packed_dot: true };

/// Lavapipe as a card with these features.
pub fn card(features: Features) -> Rc<Gpu> {
    let gpu = open_lavapipe();
    gpu.shape_for_cards();
    gpu.use_only(features);
    assert_eq!(gpu.features(), gpu.features().and(features), "lavapipe has less");
    gpu
}

fn open_on(driver: fn() -> Option<PathBuf>) -> Rc<Gpu> {
    static CHOOSE: Once = Once::new();
    CHOOSE.call_once(|| {
        let system = std::env::var_os("WISPLM_GPU").is_some_and(|choice| choice == "system");
        let chosen = system || DRIVERS.iter().any(|name| std::env::var_os(name).is_some());
        if let (false, Some(driver)) = (chosen, driver()) {
            // SAFETY: all threads that open a GPU wait here, and nothing else in these tests reads the environment.
            DRIVERS.iter().for_each(|name| unsafe { std::env::set_var(name, &driver) });
        }
        // A window system's library complains of each device that is opened without it.
        if std::env::var_os(RUNTIME).is_none() {
            // SAFETY: as above.
            unsafe { std::env::set_var(RUNTIME, std::env::temp_dir()) };
        }
    });
    pollster::block_on(Gpu::open()).unwrap_or_else(|error| {
        panic!("{error}. Tests need a Vulkan loader, Chromium's SwiftShader and lavapipe: run scripts/setup.sh tests")
    })
}

fn lavapipe() -> Option<PathBuf> {
    let files = SYSTEM.iter().filter_map(|folder| Path::new(folder).read_dir().ok()).flatten();
    let named =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"));
    files.filter_map(|entry| entry.ok()).map(|entry| entry.path()).find(named)
}

/// Chromium's software driver.
fn swiftshader() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let beside = named.as_deref().and_then(Path::parent).map(PathBuf::from);
    let folders = beside.into_iter().chain(FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join("vk_swiftshader_icd.json")).find(|file| file.is_file())
}
