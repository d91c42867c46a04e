cpdef str new_id()
