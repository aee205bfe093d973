//! Memory that several threads write in disjoint parts: the only place that hands out references to it.
//!
//! Which thread touches what, and where a barrier lies between, is decided when a plan is compiled, and checked
//! there for every pair of threads (`program::check`). So the references below never overlap while one of them is
//! mutable, though the compiler cannot see it.

use super::program::{At, Place};
use crate::error::{Error, Result};
use crate::plan::SlotId;
use crate::quant::BLOCK;
use std::cell::UnsafeCell;
use std::ops::Range;

/// Values with interior mutability by parts.
#[derive(Default)]
pub struct Shared<T>(Vec<UnsafeCell<T>>);

// SAFETY: all access goes through `Parts`, whose callers promise that mutable parts overlap with nothing.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    /// Makes it `len` values long, new ones being `value`. Memory that cannot be had is `false`.
    pub fn resize(&mut self, len: usize, value: T) -> bool {
        let fits = self.0.try_reserve_exact(len.saturating_sub(self.0.len())).is_ok();
        if fits {
            self.0.resize_with(len, || UnsafeCell::new(value));
        }
        fits
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn parts(&self) -> Parts<'_, T> {
        Parts(&self.0)
    }

    /// All of them, which nobody else can reach now.
    pub fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: `&mut self`, and `UnsafeCell<T>` has the layout of `T`.
        unsafe { self.parts().write(0..self.len()) }
    }
}

/// Access to shared values.
#[derive(Clone, Copy)]
pub struct Parts<'a, T>(&'a [UnsafeCell<T>]);

// SAFETY: as for `Shared`.
unsafe impl<T: Send + Sync> Sync for Parts<'_, T> {}
unsafe impl<T: Send + Sync> Send for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Of values that nobody else can reach now.
    pub fn of(values: &'a mut [T]) -> Self {
        // SAFETY: `UnsafeCell<T>` has the layout of `T`, and the exclusive borrow lasts as long as the parts.
        Parts(unsafe { &*(std::ptr::from_mut(values) as *const [UnsafeCell<T>]) })
    }

    /// Some of them.
    pub fn slice(self, range: Range<usize>) -> Self {
        Parts(&self.0[range])
    }

    /// The same memory as values of another type.
    pub fn cast<U: bytemuck::Pod>(self) -> Parts<'a, U>
    where
        T: bytemuck::Pod,
    {
        const {
            assert!(
                align_of::<T>().is_multiple_of(align_of::<U>())
                    && size_of::<T>().is_multiple_of(size_of::<U>())
            )
        };
        let len = self.0.len() * (size_of::<T>() / size_of::<U>());
        // SAFETY: `UnsafeCell<U>` has the layout of `U`, the memory is as long and aligned, and any bits are a `U`.
        Parts(unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) })
    }

    /// Writes one value.
    ///
    /// # Safety
    /// No reference to this value is used, and no other thread touches it meanwhile.
    pub unsafe fn put(self, at: usize, value: T) {
        // SAFETY: the bounds are checked, and the caller excludes all others.
        unsafe { self.0[at].get().write(value) }
    }

    /// # Safety
    /// No thread writes within `range` while the reference lives.
    pub unsafe fn read(self, range: Range<usize>) -> &'a [T] {
        let part = &self.0[range];
        // SAFETY: the layouts are the same, the bounds are checked, and the caller excludes writers.
        unsafe { std::slice::from_raw_parts(part.as_ptr().cast(), part.len()) }
    }

    /// # Safety
    /// No other reference into `range` is used while this one lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn write(self, range: Range<usize>) -> &'a mut [T] {
        let part = &self.0[range];
        // SAFETY: `UnsafeCell` allows it, the bounds are checked, and the caller excludes all others.
        unsafe { std::slice::from_raw_parts_mut(UnsafeCell::raw_get(part.as_ptr()), part.len()) }
    }
}

/// The activations of a step: for each slot of the plan, rows of f32 filled up with zeros to a multiple of 32.
#[derive(Default)]
pub struct Slots(Vec<Slot>);

struct Slot {
    width: usize,
    stride: usize,
    values: Shared<f32>,
}

impl Slots {
    pub fn new(widths: &[usize]) -> Self {
        let slot = |width: &usize| Slot {
            width: *width,
            stride: width.next_multiple_of(BLOCK),
            values: Shared::default(),
        };
        Slots(widths.iter().map(slot).collect())
    }

    /// Makes room for `rows` rows in every slot.
    pub fn resize(&mut self, rows: usize) -> Result<()> {
        for slot in &mut self.0 {
            if slot.values.len() < rows * slot.stride && !slot.values.resize(rows * slot.stride, 0.0) {
                return Err(Error::out_of_memory(
                    "the activations do not fit into memory: choose a smaller model",
                ));
            }
        }
        Ok(())
    }

    /// One row of a slot, while no step runs.
    pub fn row(&mut self, slot: SlotId, row: usize) -> &[f32] {
        let slot = &self.0[slot.0];
        // SAFETY: `&mut self`: there is no view.
        unsafe { slot.values.parts().read(row * slot.stride..row * slot.stride + slot.width) }
    }

    /// What one thread may touch.
    ///
    /// # Safety
    /// Each thread of a step has one view, walks the same checked program, and takes from its view only what the
    /// step at hand says: its rows or columns of what it writes, and of what it reads, nothing that another thread
    /// may write before the next barrier.
    pub unsafe fn view(&self, rows: Rows) -> View<'_> {
        View { slots: &self.0, rows }
    }
}

/// Rows of a step, as one thread sees them.
#[derive(Clone, Debug)]
pub struct Rows {
    /// All rows of the step.
    pub all: usize,
    /// Those that are this thread's where a step is split by rows.
    pub own: Range<usize>,
    /// Its number, for its lane where a step is split by columns.
    pub thread: usize,
}

/// One thread's access to the slots.
pub struct View<'a> {
    slots: &'a [Slot],
    rows: Rows,
}

impl<'a> View<'a> {
    /// The rows of the step that are at a place: those that an op goes over.
    pub fn rows(&self, place: Place) -> Range<usize> {
        match place {
            Place::Own => self.rows.own.clone(),
            Place::Shared | Place::Lane => 0..self.rows.all,
        }
    }

    /// Where row `row` of the step begins.
    fn start(&self, at: At, row: usize) -> usize {
        let lane = match at.place {
            Place::Own | Place::Shared => 0,
            Place::Lane => lane(self.rows.all, self.rows.thread),
        };
        (lane + row) * self.slots[at.slot.0].stride
    }

    pub fn width(&self, slot: SlotId) -> usize {
        self.slots[slot.0].width
    }

    /// Values from one row to the next.
    pub fn stride(&self, slot: SlotId) -> usize {
        self.slots[slot.0].stride
    }

    /// Whole rows, with what fills them up.
    pub fn read(&self, at: At, rows: Range<usize>) -> &'a [f32] {
        let range = self.start(at, rows.start)..self.start(at, rows.end);
        // SAFETY: the promise of `Slots::view`.
        unsafe { self.slots[at.slot.0].values.parts().read(range) }
    }

    /// Some columns of a row.
    pub fn part(&self, at: At, row: usize, columns: Range<usize>) -> &'a [f32] {
        let start = self.start(at, row);
        // SAFETY: the promise of `Slots::view`.
        unsafe { self.slots[at.slot.0].values.parts().read(start + columns.start..start + columns.end) }
    }

    /// Some columns of a row, to be written.
    pub fn part_mut(&mut self, at: At, row: usize, columns: Range<usize>) -> &mut [f32] {
        let start = self.start(at, row);
        // SAFETY: the promise of `Slots::view`.
        unsafe { self.slots[at.slot.0].values.parts().write(start + columns.start..start + columns.end) }
    }
}

/// The first row of a thread's lane in the memory of a slot: behind the shared rows and the lanes before it.
pub fn lane(rows: usize, thread: usize) -> usize {
    (1 + thread) * rows
}
