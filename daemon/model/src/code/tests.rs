//! Names and meanings of all codes.

use super::*;

fn names<C: VariantArray + Copy + Into<&'static str> + Serialize>() -> Vec<&'static str> {
    let name = |code: &C| {
        let name: &'static str = (*code).into();
        assert_eq!(serde_json::to_value(code).unwrap(), name, "one name on every wire");
        name
    };
    C::VARIANTS.iter().map(name).collect()
}

/// Other programs compare these names. To change one is to change the interface.
#[test]
fn wire_names_are_pinned() {
    assert_eq!(
        names::<ReasonCode>().join(" "),
        "not_armed bus_not_allowed bay_not_allowed model_not_allowed serial_not_allowed size_not_allowed \
         sector_size no_medium too_small too_large system_disk mounted in_use usage_unknown read_only no_serial duplicate_serial \
         already_passed not_blank no_media media_ambiguous media_invalid media_expired media_not_yet_valid media_unsigned signer_unknown media_rollback no_order order_ambiguous order_complete order_held order_not_yet_valid order_expired first_article_pending attempts_exhausted health drive_changed ledger_unavailable ledger_tampered stalled \
         write_error read_error mismatch foreign_write unplugged too_slow boot_configuration press_failed store_error \
         out_of_memory internal_error operator_stop station_shutdown station_interrupted"
    );
    assert_eq!(
        names::<CommandCode>().join(" "),
        "failed refused usage unavailable overtaken not_permitted configuration interrupted"
    );
    assert_eq!(
        names::<WarningCode>().join(" "),
        "rewritten not_compared not_kept slow_for_its_batch writers_not_counted cached_read_back old_data_left tables_removed health_worse"
    );
    assert_eq!(
        names::<FindingCode>().join(" "),
        "wim_damaged wim_unfinished wim_incomplete media_unreadable check_failed split_part_missing \
         image_missing encrypted_files names_invalid names_twice not_applicable esp_too_small esp_names_invalid boot_files_missing boot_files_compressed boot_manager_invalid bcd_missing bcd_invalid \
         boot_image_missing boot_image_damaged boot_image_architecture unpack_failed boot_sdi_missing media_unsigned signer_unknown media_rollback split_part_copies counts_differ no_security_descriptor extended_attributes attributes_not_kept short_names_not_kept links_differ \
         boot_loader_missing boot_manager_unclear boot_image_unknown boot_image_architecture_unknown boot_manager_2011 boot_manager_unsigned boot_image_compression boot_os_device boot_system_root_missing expiry_name"
    );
    assert_eq!(
        names::<FailureCode>().join(" "),
        "media_changed media_unreadable wim_damaged media_invalid volume_full image_too_large store_full store_budget \
         store_error master_damaged tool_missing press_failed cancelled read_error not_imaged volume_damaged \
         source_unreadable source_damaged source_changed image_missing names_invalid boot_image_architecture no_room create_failed \
         libwim worker_failed internal_error parcel_incomplete parcel_damaged base_missing signer_unknown inbox_error"
    );
    assert_eq!(
        names::<DenialCode>().join(" "),
        "bad_request no_such_path wrong_method not_permitted draining overloaded no_such_order order_unchangeable unclear_scan no_such_drive ambiguous_drive no_such_master \
         no_such_record digests_missing no_media media_ambiguous media_invalid too_small too_large not_running already_passed busy out_of_scope stalled store_error \
         ledger_unavailable ledger_tampered internal_error unexpected_answer"
    );
}

#[test]
fn every_code_says_what_it_means() {
    let meanings = ReasonCode::VARIANTS
        .iter()
        .map(|code| code.meaning())
        .chain(CommandCode::VARIANTS.iter().map(|code| code.meaning()))
        .chain(WarningCode::VARIANTS.iter().map(|code| code.meaning()))
        .chain(FindingCode::VARIANTS.iter().map(|code| code.meaning()))
        .chain(FailureCode::VARIANTS.iter().map(|code| code.meaning()))
        .chain(DenialCode::VARIANTS.iter().map(|code| code.meaning()));
    for meaning in meanings {
        assert!(meaning.ends_with('.') && meaning.len() > 10, "{meaning:?}");
    }
}

#[test]
fn warnings_say_so() {
    for code in FindingCode::VARIANTS {
        assert_eq!(code.is_warning(), code.meaning().starts_with("Warning:"), "{code}");
    }
}
